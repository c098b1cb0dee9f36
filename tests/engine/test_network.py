from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from napari_sa2net.engine import network as network_module
from napari_sa2net.engine import operators
from napari_sa2net.engine.errors import InputError
from napari_sa2net.engine.network import SA2Net


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SA2Net(3, 3, 4)


def test_the_size_at_the_papers_width():
    with torch.device("meta"):
        network = SA2Net()
    assert sum(p.numel() for p in network.parameters()) == 19_296_596
    assert (network.in_channels, network.num_classes, network.base_channels) == (3, 1, 64)


@pytest.mark.parametrize("training", [True, False])
def test_four_stages_at_the_inputs_size_in_training_and_evaluation(network, training):
    stages = network.train(training)(torch.rand(2, 3, 32, 48))
    assert [tuple(stage.shape) for stage in stages] == [(2, 3, 32, 48)] * 4


def test_logits_are_not_activated(network):
    finest = network.eval()(10 * torch.randn(1, 3, 32, 32))[0]
    assert not torch.allclose(finest.softmax(1), finest)
    assert finest.min() < 0


def test_the_finest_stage_comes_first(network):
    """A head's change is seen in its own stage only; head i belongs to stage i."""
    x = torch.rand(1, 3, 32, 32)
    network.eval()
    before = network(x)
    with torch.no_grad():
        network.heads[0].bias += 1
        after = network(x)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [
        False, True, True, True,
    ]  # fmt: skip
    # A coarse stage is enlarged eightfold: it varies less from pixel to pixel.
    steps = [stage.diff(dim=-1).abs().mean() / stage.std() for stage in before]
    assert steps[0] > 2 * steps[3]


def test_every_parameter_is_used(network):
    network.train()
    sum(stage.square().mean() for stage in network(torch.rand(2, 3, 32, 32))).backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert unused == []
    # A bias before a batch normalisation is used, but cancelled: its gradient is about zero.
    weights = {n: p.grad for n, p in network.named_parameters() if n.endswith("weight")}
    assert [name for name, grad in weights.items() if not grad.any()] == []


@pytest.mark.parametrize(
    ("size", "fit"), [((30, 48), "32 × 48"), ((17, 1), "32 × 16"), ((0, 16), "16 × 16")]
)
def test_a_size_that_does_not_fit_names_one_that_does(network, size, fit):
    with pytest.raises(InputError, match=f"pad the image to {fit}"):
        network(torch.rand(1, 3, *size))


def test_wrong_channels_or_dimensions_are_named(network):
    with pytest.raises(InputError, match=r"\(batch, 3, height, width\).*\(1, 4, 32, 32\)"):
        network(torch.rand(1, 4, 32, 32))
    with pytest.raises(InputError, match=r"\(3, 32, 32\)"):
        network(torch.rand(3, 32, 32))


def test_sizes_below_one_are_refused():
    with pytest.raises(InputError, match="num_classes=0"):
        SA2Net(3, 0, 4)


def test_the_smallest_input_works(network):
    assert network.eval()(torch.rand(1, 3, 16, 16))[3].shape == (1, 3, 16, 16)


def test_explain_gives_the_same_logits_and_maps_at_the_inputs_size(network):
    network.eval()
    x = torch.rand(2, 3, 32, 48)
    logits, attention, gates = network.explain(x)
    assert all(torch.equal(a, b) for a, b in zip(logits, network(x), strict=True))
    assert [tuple(m.shape) for m in attention] == [(2, 1, 32, 48)] * 4
    assert [tuple(m.shape) for m in gates] == [(2, 1, 32, 48)] * 4
    for psi in attention:
        assert psi.min() >= 0
        assert psi.max() <= 1
        assert psi.std() > 0
    for gate in gates:
        assert gate.isfinite().all()
        assert gate.min() > -0.2  # the lowest value of GELU


def test_the_deeper_path_reaches_the_output_only_through_the_attention_map(network):
    """With ψ switched off, the finest stage no longer depends on the stage below."""
    network.eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        network.decoder[0].psi_norm.bias.fill_(-1e4)
        before = network(x)[0]
        network.decoder[1].proj.weight.mul_(2)
        after = network(x)[0]
        assert network.explain(x).attention[0].max() == 0
    assert torch.equal(before, after)


class _Layouts(TorchFunctionMode):
    """Notes whether each convolution and normalisation got a tensor with its channels first."""

    def __init__(self):
        super().__init__()
        self.first = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (F.conv2d, F.batch_norm, torch.conv2d, torch.batch_norm):
            self.first.append(args[0].is_contiguous())
        return function(*args, **(kwargs or {}))


def _learn(network, x):
    network.zero_grad()
    stages = network(x)
    sum((stage * torch.linspace(-1, 1, 48)).square().mean() for stage in stages).backward()
    return stages, [p.grad.clone() for p in network.parameters()]


def test_an_apple_gpu_gets_the_channels_first_and_computes_the_same(network, monkeypatch):
    """Its backend has had wrong results with them last, and with parts of the channels."""
    network.train()
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 48)
    with _Layouts() as elsewhere:
        expected, slopes = _learn(network, x)
    for module in (network_module, operators):
        monkeypatch.setattr(module, "on_apple", lambda tensor: True)
    with _Layouts() as there:
        stages, found = _learn(network, x)
    assert not all(elsewhere.first)
    assert len(there.first) > 50
    assert all(there.first)
    torch.testing.assert_close(stages, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, slopes, rtol=1e-3, atol=3e-5)
