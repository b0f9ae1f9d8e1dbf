"""The callbacks of the documentation, where their libraries are installed: they are no dependencies, not even of the tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore")  # those libraries' own


@pytest.fixture
def example(request, monkeypatch):
    pytest.importorskip("sklearn")
    name, library = request.param
    pytest.importorskip(library, exc_type=ImportError)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


lightning = pytest.mark.parametrize("example", [("ewc_lightning", "lightning")], indirect=True)
trainer = pytest.mark.parametrize("example", [("ewc_trainer", "transformers")], indirect=True)


@pytest.mark.parametrize("example", [("ewc_lightning", "lightning"), ("ewc_trainer", "transformers")], indirect=True)
def test_the_callback_keeps_the_first_task(example) -> None:
    found = example.main(epochs=8)
    assert found["EWC"][0] > found["plain"][0] + 0.1


@lightning
def test_checkpoints_of_lightning_keep_the_state(example) -> None:
    net = example.fk.networks.Model(example.Classifier().network, "categorical")
    one, two = (example.EWCCallback(net, strength=2.0) for _ in range(2))
    one.ewc.consolidate(torch.rand(9, 64))
    two.load_state_dict(one.state_dict())
    assert two.ewc.tasks == 1
    torch.testing.assert_close(two.ewc.information.diagonal(), one.ewc.information.diagonal())


@trainer
def test_a_model_of_several_inputs_is_consolidated_whatever_the_batches(example) -> None:
    transformers = example.transformers
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=40, num_labels=3, **sizes))
    whole = {"input_ids": torch.randint(0, 40, (12, 7)), "attention_mask": torch.ones(12, 7, dtype=torch.long)}
    traces = []
    for batches in ([whole], [{name: value[i : i + 5] for name, value in whole.items()} for i in (0, 5, 10)]):
        callback = example.EWCCallback(example.Logits(model), strength=1.0)
        callback.on_train_end(train_dataloader=batches)
        traces.append(callback.ewc.report().trace)
    assert model.training
    assert traces[0] == pytest.approx(traces[1], rel=1e-5)


@trainer
def test_the_penalty_comes_once_per_step_of_the_trainer(example, tmp_path, monkeypatch) -> None:
    transformers, calls = example.transformers, []
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    configuration = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **sizes)
    logits = example.Logits(transformers.ViTForImageClassification(configuration), ("pixel_values",))
    callback = example.EWCCallback(logits, strength=1.0)
    callback.ewc.consolidate(torch.rand(9, 1, 8, 8))
    penalty = callback.ewc.penalty
    monkeypatch.setattr(callback.ewc, "penalty", lambda: calls.append(1) or penalty())
    arguments = transformers.TrainingArguments(
        tmp_path,
        max_steps=3,
        gradient_accumulation_steps=4,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
    )
    task = example.Digits(example.np.arange(64))
    transformers.Trainer(logits.model, arguments, train_dataset=task, callbacks=[callback]).train()
    assert len(calls) == 3
    assert callback.ewc.tasks == 2
