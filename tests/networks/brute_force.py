"""The definition, one example and one label at a time, in float64: nothing of fisherkit."""

import copy

import torch


def rows(module, inputs, log_probability):
    """For each example and outcome, (weight, flat gradient of the log-probability)."""
    double = copy.deepcopy(module).double()
    parameters = [p for p in double.parameters() if p.requires_grad]
    for x in inputs:
        output = double((x.double() if x.is_floating_point() else x)[None])[0]
        for weight, value in log_probability(output):
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            flat_gradient = torch.cat([g.to_dense().reshape(-1) for g in gradients])
            yield weight.item() if isinstance(weight, torch.Tensor) else weight, flat_gradient


def categorical(output):
    log_p = torch.log_softmax(output, dim=0)
    return [(value.exp(), value) for value in log_p]


def expected(module, inputs, log_probability=categorical):
    """Mean over the inputs of the sum over outcomes of p s s'."""
    return sum(weight * torch.outer(g, g) for weight, g in rows(module, inputs, log_probability)) / len(inputs)


def flat(F):
    """The diagonal of an information as one vector."""
    return torch.cat([torch.as_tensor(value).reshape(-1) for value in F.diagonal().values()])
