"""Batches by name, masks, shifted labels, and what one observation is: against loops over sequences and tokens in float64."""

from collections import UserDict
from types import SimpleNamespace

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from tests.networks import brute_force  # noqa: E402 needs torch

nn = torch.nn
VOCABULARY, T, N = 5, 4, 7
TOKENS = torch.arange(N * T).reshape(N, T) * 3 % VOCABULARY
ATTENTION = torch.ones(N, T, dtype=torch.long)
ATTENTION[2, 3:] = ATTENTION[4, 2:] = 0
LABELS = ((TOKENS + 1) % VOCABULARY).masked_fill(ATTENTION == 0, -100)
MAPPING = {"input_ids": TOKENS, "attention_mask": ATTENTION, "labels": LABELS}


class Causal(nn.Module):
    """Each place sees the mean of the tokens up to it; a tied head; arguments by name, and an object with ``.logits``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.hidden = nn.Embedding(VOCABULARY, 3), nn.Linear(3, 3)

    def forward(self, *, input_ids, attention_mask):
        h = self.embed(input_ids) * attention_mask[..., None]
        h = torch.tanh(self.hidden(h.cumsum(1) / attention_mask.cumsum(1)[..., None]))
        return SimpleNamespace(logits=h @ self.embed.weight.T, past=None)


def model(**keywords) -> fk.networks.Model:
    return fk.networks.Model(Causal().double(), fk.networks.Categorical(axis=-1, ignore_index=-100), **keywords)


def token_scores(net, labels=LABELS, shift: int = 0):
    """[[flat score of each counted token] for each sequence], by autograd alone."""
    parameters = list(net.module.parameters())
    rows = []
    for n in range(N):
        logits = net.module(input_ids=TOKENS[n : n + 1], attention_mask=ATTENTION[n : n + 1]).logits[0]
        log_p, found = torch.log_softmax(logits, -1), []
        for t in range(T - shift):
            if (label := int(labels[n, t + shift])) >= 0:
                gradients = torch.autograd.grad(log_p[t, label], parameters, retain_graph=True)
                found.append(torch.cat([g.reshape(-1) for g in gradients]))
        rows.append(found)
    return rows


def outer(rows):
    return sum(torch.outer(s, s) for s in rows)


LOADERS = {
    "one mapping": lambda: MAPPING,
    "loader of mappings": lambda: [UserDict({k: v[i : i + 3] for k, v in MAPPING.items()}) for i in range(0, N, 3)],
    "pairs of a mapping and labels": lambda: [
        ({"input_ids": TOKENS[i : i + 2], "attention_mask": ATTENTION[i : i + 2]}, LABELS[i : i + 2]) for i in range(0, N, 2)
    ],
}


@pytest.mark.parametrize("name", LOADERS)
def test_squares_of_sums_or_sums_of_squares(name: str) -> None:
    rows = token_scores(model())
    sums, tokens = [sum(found) for found in rows], [score for found in rows for score in found]
    for per, brute in {"example": sums, "token": tokens}.items():
        net = model(per=per)
        F = fk.empirical_information(net, data=LOADERS[name]())
        assert F.n == len(brute)
        torch.testing.assert_close(F.dense(), outer(brute), rtol=1e-10, atol=1e-12)
        diagonal = fk.empirical_information(net, data=LOADERS[name](), structure="diagonal")
        torch.testing.assert_close(brute_force.flat(diagonal), outer(brute).diagonal(), rtol=1e-10, atol=1e-12)
        scores = fk.score(net, data=LOADERS[name]())
        torch.testing.assert_close(torch.cat([s.flatten(1) for s in scores.values()], 1), torch.stack(brute))


def test_in_expectation_sequences_and_tokens_differ_by_the_scale() -> None:
    """Labels are independent given the output: the cross terms vanish. Masked tokens are not counted."""
    every = model()
    per_example = fk.expected_information(model(mask="attention_mask"), inputs=MAPPING)
    per_token = fk.expected_information(model(mask="attention_mask", per="token"), inputs=MAPPING)
    tokens = int(ATTENTION.sum())
    torch.testing.assert_close(per_token.total(tokens).dense(), per_example.total(N).dense())
    brute = 0
    for k in range(VOCABULARY):
        labels = torch.full_like(LABELS, k).masked_fill(ATTENTION == 0, -100)
        for n, found in enumerate(token_scores(every, labels)):
            given = {"input_ids": TOKENS[n : n + 1], "attention_mask": ATTENTION[n : n + 1]}
            p = torch.softmax(every.module(**given).logits[0].detach(), -1)
            brute = brute + sum(p[t, k] * torch.outer(s, s) for t, s in enumerate(found))
    torch.testing.assert_close(per_example.dense(), brute / N, rtol=1e-10, atol=1e-12)
    pair = ({k: v for k, v in MAPPING.items() if k != "labels"}, LABELS)
    as_pair = fk.expected_information(model(mask=lambda pair: pair[1] != -100), inputs=pair)
    torch.testing.assert_close(as_pair.dense(), per_example.dense())
    by_rule = fk.expected_information(model(mask=lambda batch: batch["labels"] != -100), inputs=MAPPING)
    torch.testing.assert_close(by_rule.dense(), per_example.dense())


@pytest.mark.parametrize("estimator", ["labels", "hutchinson", "batches"])
def test_masked_draws_are_calibrated(estimator: str) -> None:
    net = model(mask="attention_mask", per="token")
    exact = brute_force.flat(fk.expected_information(net, inputs=MAPPING, structure="diagonal"))
    method = fk.MonteCarlo(500, rng=0, estimator=estimator)
    F = fk.expected_information(net, inputs=MAPPING, structure="diagonal", method=method)
    told = torch.cat([e.reshape(-1) for e in F.mcse.values()])
    assert float(((brute_force.flat(F) - exact) / told).abs().max()) < 4.5


def test_a_causal_model_tells_of_the_next_token() -> None:
    labels = TOKENS.masked_fill(ATTENTION == 0, -100)
    repeated = {**MAPPING, "labels": labels}
    with pytest.raises(fk.errors.DataError, match=r"the labels repeat input_ids.*Model\(..., shift=1\)"):
        fk.empirical_information(model(), data=repeated)
    rows = [sum(found) for found in token_scores(model(), labels, shift=1)]
    net = model(shift=1, mask="attention_mask")
    F = fk.empirical_information(net, data=repeated)
    torch.testing.assert_close(F.dense(), outer(rows), rtol=1e-10, atol=1e-12)
    counted = int((labels[:, 1:] >= 0).sum())
    assert fk.empirical_information(model(shift=1, per="token"), data=repeated).n == counted
    scale = fk.expected_information(model(shift=1, mask="attention_mask", per="token"), inputs=repeated).total(counted)
    torch.testing.assert_close(scale.dense(), fk.expected_information(net, inputs=repeated).total(N).dense())
    assert fk.empirical_information(model(shift=0), data=repeated).n == N  # where it is meant


def test_observed_counts_the_same_labels() -> None:
    """The Hessian of the masked log-likelihood, by finite differences of its gradient."""
    net = model(params="hidden.bias")
    H = fk.observed_information(net, data=MAPPING).dense()
    step, columns = 1e-5, []
    bias = net.module.hidden.bias
    for i in range(3):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[i] += sign * step
            ends.append(fk.score(net, data=MAPPING)["hidden.bias"].sum(0))
            with torch.no_grad():
                bias[i] -= sign * step
        columns.append(-(ends[0] - ends[1]) / (2 * step))
    torch.testing.assert_close(H, torch.stack(columns), rtol=1e-6, atol=1e-7)


def test_maps_with_a_void_label() -> None:
    """A segmentation net: pixels labelled 255 are as if they were not there."""
    torch.manual_seed(0)
    net, x = nn.Conv2d(2, 3, 3, padding=1).double(), torch.randn(4, 2, 3, 3).double()
    labels = torch.arange(36).reshape(4, 3, 3) % 3
    void = labels.clone()
    void[:, 0] = 255
    likelihood = fk.networks.Categorical(axis=1, ignore_index=255)
    masked = fk.networks.Model(net, fk.networks.Categorical(axis=1), mask=lambda pair: pair[1] != 255, per="token")
    first, second = (fk.networks.Model(net, likelihood, per="token"), masked)
    F = fk.empirical_information(first, data=(x, void))
    assert F.n == 4 * 6
    labels_in_range = fk.networks.Model(net, fk.networks.Categorical(axis=1), per="token", mask=lambda pair: void != 255)
    torch.testing.assert_close(fk.empirical_information(labels_in_range, data=(x, labels)).dense(), F.dense())
    torch.testing.assert_close(fk.empirical_information(second, data=(x, void)).dense(), F.dense())
    with pytest.raises(fk.errors.DataError, match=r"label 255 of example 0 at \(0, 0\).*Categorical\(ignore_index=255\)"):
        fk.empirical_information(fk.networks.Model(net, fk.networks.Categorical(axis=1)), data=(x, void))


MISSING = {
    "gaussian": ("gaussian", float("nan")),
    "poisson": ("poisson", -1.0),
    "gamma": (lambda z: torch.distributions.Gamma(1 + z.exp(), 1.0), float("nan")),
    "counts": (lambda z: torch.distributions.Independent(torch.distributions.Poisson(z.exp()), 1), -1.0),
}


@pytest.mark.parametrize("name", MISSING)
def test_labels_that_do_not_count_may_be_anything(name: str) -> None:
    likelihood, nothing = MISSING[name]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
    labels, torn = torch.ones(5, 3).double(), torch.ones(5, 3).double()
    mask = torch.arange(15).reshape(5, 3) % 4 != 0
    if name == "counts":
        mask = mask[:, 0]
    torn[~mask] = nothing
    net = fk.networks.Model(nn.Linear(4, 3).double(), likelihood, mask=lambda batch: mask)
    F, G = (fk.empirical_information(net, data=(x, y), structure="diagonal") for y in (torn, labels))
    assert F.n == 5
    assert torch.equal(brute_force.flat(F), brute_force.flat(G))


class Stream(torch.utils.data.IterableDataset):
    """Its length is not known."""

    def __iter__(self):
        return iter([{key: value[n] for key, value in MAPPING.items()} for n in range(N)])


def test_a_stream_of_mappings_is_a_loader_too() -> None:
    loader = torch.utils.data.DataLoader(Stream(), batch_size=3)
    net = model(mask="attention_mask")
    for verb, keyword in ((fk.expected_information, "inputs"), (fk.empirical_information, "data")):
        torch.testing.assert_close(verb(net, **{keyword: loader}).dense(), verb(net, **{keyword: MAPPING}).dense())
    method = fk.MonteCarlo(2, rng=0)
    F, G = (fk.expected_information(net, inputs=one, method=method) for one in (loader, MAPPING))
    torch.testing.assert_close(F.dense(), G.dense())


def test_labels_of_many_classes_are_drawn_a_few_examples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from fisherkit.networks import likelihoods

    method, net = fk.MonteCarlo(3, rng=0), model(mask="attention_mask")
    whole = fk.expected_information(net, inputs=MAPPING, method=method).dense()
    monkeypatch.setattr(likelihoods, "ENTRIES", 2 * VOCABULARY * T)
    assert torch.equal(fk.expected_information(net, inputs=MAPPING, method=method).dense(), whole)


REFUSED = [
    ({"mask": "pad"}, MAPPING, r"mask='pad' is an entry of the batch; got a dict of input_ids, attention_mask, labels"),
    ({"mask": lambda b: b["labels"][:, 0] == 0}, MAPPING, r"a mask must have the labels' shape \(7, 4\); got \(7,\)"),
    ({"mask": lambda b: b["labels"].double()}, MAPPING, "a mask must be 1 or True where a label counts"),
    ({"mask": lambda b: torch.ones(3, 4)}, MAPPING, "one row per example, here 7; got a tensor of shape"),
    ({"mask": lambda b: b["labels"] == 77}, MAPPING, "no label counts"),
    ({"shift": 4}, MAPPING, r"shift=4 needs labels of shape \(batch, T\) with T > 4; got \(7, 4\)"),
    ({}, {k: v for k, v in MAPPING.items() if k != "labels"}, "a mapping for data= has an entry 'labels'"),
    ({}, {**MAPPING, "labels": LABELS + 1}, r"label 5 of example 0 at \(1,\) is outside the 5 classes"),
    ({}, {**MAPPING, "extra": TOKENS}, "the network cannot take these inputs, tensors of input_ids"),
    ({}, {**MAPPING, "text": ["a"] * N}, "inputs must be .* a mapping of tensors.*text: list"),
    ({}, {**MAPPING, "input_ids": TOKENS[:1]}, r"one row per example; got shapes \['input_ids \(1, 4\)'"),
    ({}, [MAPPING, {"input_ids": TOKENS, "labels": LABELS}], "every batch must have the same entries"),
]


@pytest.mark.parametrize(("keywords", "data", "message"), REFUSED, ids=[row[2][:30] for row in REFUSED])
def test_batches_that_fit_nothing_are_refused(keywords: dict, data: object, message: str) -> None:
    with pytest.raises((fk.errors.DataError, fk.errors.LayoutError), match=message):
        fk.empirical_information(model(per="token", **keywords), data=data)


def test_choices_that_are_none_are_refused() -> None:
    for keywords, message in (
        ({"per": "sequence"}, "per= must be one of 'example', 'token'; got 'sequence'"),
        ({"shift": -1}, "shift= must be 0 or a positive integer"),
        ({"mask": 3}, "mask= must be the name of a batch's entry"),
    ):
        with pytest.raises(fk.errors.LayoutError, match=message):
            model(**keywords)
    with pytest.raises(fk.errors.LayoutError, match=r"say which axis holds the classes.*Categorical\(axis=-1\) for sequences"):
        fk.expected_information(fk.networks.Model(Causal(), "categorical"), inputs=MAPPING)


class Marks(nn.Module):
    """Logits of three classes at each of four places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(2, 3)

    def forward(self, x):
        return torch.tanh(self.inner(x))


def by_places(output):
    return torch.distributions.Categorical(logits=output)


def two_counts(output):
    """Three Poisson counts at each place, which share its mask."""
    return torch.distributions.Independent(torch.distributions.Poisson(output.exp()), 1)


@pytest.mark.parametrize("per", ["example", "token"])
def test_masks_of_distributions_are_those_of_the_named_likelihoods(per: str) -> None:
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(24).reshape(6, 4) % 3
    mask = labels != 2
    net = Marks().double()
    ours = fk.networks.Model(net, by_places, mask=lambda batch: mask, per=per)
    named = fk.networks.Model(net, fk.networks.Categorical(axis=-1), mask=lambda batch: mask, per=per)
    for verb in (fk.empirical_information, fk.observed_information):
        F, G = verb(ours, data=(x, labels)), verb(named, data=(x, labels))
        assert F.n == G.n == (6 if per == "example" else int(mask.sum()))
        torch.testing.assert_close(F.dense(), G.dense())
    torch.testing.assert_close(fk.expected_information(ours, inputs=x).dense(), fk.expected_information(named, inputs=x).dense())
    drawn = fk.expected_information(ours, inputs=x, method=fk.MonteCarlo(400, rng=0, estimator="hutchinson"))
    exact = fk.expected_information(named, inputs=x)
    assert abs(float(drawn.trace - exact.trace)) < 4 * float(drawn.mcse_of(lambda F: F.trace))


def test_the_parts_of_one_label_share_its_mask() -> None:
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.arange(24).reshape(6, 4) % 3 != 2
    net = Marks().double()
    ours = fk.networks.Model(net, two_counts, mask=lambda batch: mask, per="token")
    parts = fk.networks.Model(net, "poisson", mask=lambda batch: mask[..., None].expand(6, 4, 3))
    F = fk.expected_information(ours, inputs=x)
    torch.testing.assert_close(F.total(int(mask.sum())).dense(), fk.expected_information(parts, inputs=x).total(6).dense())


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian", "poisson", "heteroscedastic", "callable"])
def test_half_precision_is_that_of_its_weights(likelihood: str) -> None:
    """bfloat16 keeps three digits; squares are not lost."""
    chosen = {
        "heteroscedastic": fk.networks.HeteroscedasticGaussian(),
        "callable": lambda z: torch.distributions.Normal(z[:, :2], z[:, 2:].exp()),
    }.get(likelihood, likelihood)
    torch.manual_seed(0)
    half, x = nn.Linear(4, 4).bfloat16(), torch.randn(9, 4).bfloat16()
    exact = fk.expected_information(fk.networks.Model(half, chosen), inputs=x, structure="diagonal")
    single = nn.Linear(4, 4).double()
    single.load_state_dict(half.state_dict())
    true = fk.expected_information(fk.networks.Model(single, chosen), inputs=x.double(), structure="diagonal")
    torch.testing.assert_close(brute_force.flat(exact), brute_force.flat(true), rtol=0.05, atol=1e-3)
    for estimator in ("labels", "hutchinson", "batches"):
        method = fk.MonteCarlo(2, rng=0, estimator=estimator)
        F = fk.expected_information(fk.networks.Model(half, chosen), inputs=x, structure="diagonal", method=method)
        assert 0.1 < float(F.trace / true.trace) < 10
