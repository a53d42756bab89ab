"""What methods stand on: masks, clips, several losses, two streams, phases that take turns, and what survives a kill."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from test_train import Killed, blobs, kill_at, mlp, same, small_split
from untrain.core import resume
from untrain.core.data import Samples, mix
from untrain.core.engine import Engine, current, seeded
from untrain.core.errors import BadArgument, BadData, Shared
from untrain.core.network import Network
from untrain.core.rehearse import rehearsing
from untrain.core.trace import Phase, Trace, phase
from untrain.core.train import Turn, alternate, fit, minimize


def cross_entropy(network):
    return lambda x, y: F.cross_entropy(network(x), y)


# A mask


@pytest.mark.parametrize("how", [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masked_entries_stay_to_the_bit_under_momentum_and_weight_decay(how, dtype):
    module = nn.Linear(6, 3).to(dtype)
    before = copy.deepcopy(module.state_dict())
    masks = [torch.rand(3, 6) < 0.3, torch.tensor([True, False, False])]
    with seeded(0):
        network = Network(module)
        minimize(cross_entropy(network), network.parameters(), blobs().batches(16, epochs=5), phase="p", lr=0.1, weight_decay=0.5, mask=masks, **how)
    for value, old, mask in zip(module.parameters(), before.values(), masks, strict=True):
        assert torch.equal(value[~mask], old[~mask])
        assert not torch.isclose(value[mask], old[mask]).any()


def test_what_may_move_moves_as_if_the_rest_were_frozen():
    """The oracle is a loop that multiplies gradients by hand, with decay in the loss of the free entries alone."""
    module, naive = nn.Linear(6, 3), nn.Linear(6, 3)
    naive.load_state_dict(module.state_dict())
    masks = [torch.arange(18).view(3, 6) % 3 == 0, torch.tensor([False, True, True])]
    plan = list(blobs().batches(16, epochs=4).run(mix(0, 1)))
    stepper = torch.optim.SGD(naive.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for x, y, _ in plan:
        decay = sum((p * m).square().sum() for p, m in zip(naive.parameters(), masks, strict=True)) * 0.05 / 2
        stepper.zero_grad()
        (F.cross_entropy(naive(x), y) + decay).backward()
        for p, m in zip(naive.parameters(), masks, strict=True):
            p.grad *= m
        stepper.step()
    with seeded(0):
        network = Network(module)
        how = {"optimizer": "sgd", "weight_decay": 0.05, "mask": masks}
        minimize(cross_entropy(network), network.parameters(), blobs().batches(16, epochs=4), phase="p", lr=0.1, **how)
    for value, expected in zip(module.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(value, expected)


def test_what_is_masked_leaves_no_momentum_to_a_phase_that_shares_the_optimizer():
    """Weight decay moves masked entries' momentum in the first phase; the second, which may move them and has a loss without slope, would follow it."""
    weight = nn.Parameter(torch.ones(4))
    how = {"parameters": [weight], "batches": blobs().batches(16), "lr": 0.1, "optimizer": "sgd", "weight_decay": 0.5, "shared": "one", "steps": 1}
    with seeded(0):
        held = Turn(phase="held", loss=lambda x, y: 0 * weight.sum(), mask=[torch.zeros(4, dtype=torch.bool)], **how)
        alternate(held, Turn(phase="free", loss=lambda x, y: 0 * weight.sum(), **how), rounds=1)
    alone = nn.Parameter(torch.ones(4))
    stepper = torch.optim.SGD([alone], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.5)
    alone.grad = torch.zeros(4)
    stepper.state[alone]["momentum_buffer"] = torch.zeros(4)
    stepper.step()
    torch.testing.assert_close(weight, alone)


def test_a_mask_fits_its_parameter_where_others_are_frozen():
    module = mlp()
    module[0].requires_grad_(False)
    masks = [torch.zeros_like(p, dtype=torch.bool) for p in module.parameters()]
    masks[-1][0] = True
    before = copy.deepcopy(module.state_dict())
    with seeded(0):
        network = Network(module)
        network.eval()
        minimize(cross_entropy(network), network.parameters(), blobs().batches(16), phase="p", lr=0.1, mask=masks)
    moved = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["4.bias"]
    assert torch.equal(module[4].bias[1:], before["4.bias"][1:])


# A clip


def test_a_step_is_clipped_to_its_norm():
    weight = torch.zeros(4, requires_grad=True)
    with seeded(0):
        minimize(lambda x, y: (weight * 3).sum(), [weight], Samples(torch.zeros(1, 1), [0]).batches(1), phase="p", lr=1.0, optimizer="sgd", momentum=0.0, clip=0.5)
    torch.testing.assert_close(weight.detach().norm(), torch.tensor(0.5))
    short = torch.zeros(4, requires_grad=True)
    with seeded(0):
        minimize(lambda x, y: (short * 3).sum(), [short], Samples(torch.zeros(1, 1), [0]).batches(1), phase="p", lr=1.0, optimizer="sgd", momentum=0.0, clip=50.0)
    torch.testing.assert_close(short.detach(), torch.full((4,), -3.0))


# Several losses


def two(network):
    return lambda x, y: (F.cross_entropy(network(x), y), network(x).square().mean())


def test_several_losses_are_their_sum_where_nothing_combines_them():
    """Weights, and a curve for each."""
    ends, phases = [], []
    for single in (False, True):
        module = mlp()
        with seeded(0):
            network = Network(module)
            network.train()
            losses = two(network)
            loss = (lambda x, y, losses=losses: sum(losses(x, y))) if single else losses
            phases.append(minimize(loss, network.parameters(), blobs().batches(16, epochs=2), phase="p", lr=0.01, optimizer="sgd"))
        ends.append(module)
    for a, b in zip(ends[0].parameters(), ends[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(torch.tensor(phases[0].losses), torch.tensor(phases[1].losses))
    torch.testing.assert_close(torch.tensor(phases[0].curves).sum(0), torch.tensor(phases[0].losses))
    assert len(phases[0].curves) == 2
    assert phases[1].curves == []


def test_combine_receives_each_losss_gradient_and_its_answer_is_the_step():
    module = nn.Linear(6, 3)
    before, seen = copy.deepcopy(module), []

    def second(gradients):
        seen.append(gradients)
        return gradients[1]

    samples = blobs(12)
    with seeded(0):
        network = Network(module)
        minimize(two(network), network.parameters(), samples.batches(12, shuffle=False), phase="p", lr=0.1, optimizer="sgd", momentum=0.0, combine=second)
    x, y = samples.batch(torch.arange(12))
    for number, loss in enumerate(two(Network(before))(x, y)):
        for ours, autograd in zip(seen[0][number], torch.autograd.grad(loss, list(before.parameters())), strict=True):
            torch.testing.assert_close(ours, autograd)
    for p, old, g in zip(module.parameters(), before.parameters(), seen[0][1], strict=True):
        torch.testing.assert_close(p.detach(), old.detach() - 0.1 * g)


@pytest.mark.parametrize(("shared", "passes"), [(True, 1 + 2 * 2), (False, 2 * 3)])
def test_passes_are_one_forward_and_two_for_each_losss_backward(shared, passes):
    def loss(x, y):
        out = network(x)
        return F.cross_entropy(out, y), (out if shared else network(x)).square().mean()

    with seeded(0) as run:
        network = Network(mlp())
        done = minimize(loss, network.parameters(), blobs(30).batches(15), phase="p", lr=0.1)
        assert run.passes == done.passes == 30 * passes


def test_a_forward_whose_gradient_nobody_asks_for_counts_one():
    with seeded(0) as run:
        network = Network(mlp())
        minimize(lambda x, y: F.cross_entropy(network(x), y) + 0 * network(x).detach().sum(), network.parameters(), blobs(30).batches(15), phase="p", lr=0.1)
        assert run.passes == 30 * (3 + 1)


# Streams beside each other


def test_the_second_stream_is_cycled_under_a_seed_of_its_own():
    long, short = blobs(40), blobs(12, seed=1)
    plan = long.batches(10, epochs=2).beside(short.batches(4))
    assert (len(plan), plan.per_epoch) == (8, 4)
    made = list(plan.run(7))
    alone = list(long.batches(10, epochs=2).run(7))
    cycled = list(short.batches(4, epochs=3).run(mix(7, 3, 1)))[:8]
    for ((x1, x2), (y1, y2), whole), (x, y, n), (u, v, m) in zip(made, alone, cycled, strict=True):
        assert torch.equal(x1, x)
        assert torch.equal(y1, y)
        assert torch.equal(x2, u)
        assert torch.equal(y2, v)
        assert whole == (n, m)
    # Each epoch of the second has an order of its own, and starts anew when it is through.
    seconds = [y.tolist() for _, (_, y), _ in made]
    assert sorted(chain(*seconds[:3])) == sorted(chain(*seconds[3:6])) == sorted(short.y.tolist())
    again = list(plan.run(7, start=5))
    assert all(torch.equal(a, b) for (x, _, _), (z, _, _) in zip(again, made[5:], strict=True) for a, b in zip(x, z, strict=True))


def test_ranks_share_both_streams():
    plan = blobs(40).batches(10).beside(blobs(12, seed=1).batches(4))
    whole = list(plan.run(3))
    parts = [list(plan.run(3, rank=rank, world=2)) for rank in (0, 1)]
    for step, (x, y, _) in enumerate(whole):
        for stream in (0, 1):
            assert torch.equal(torch.cat([part[step][0][stream] for part in parts]), x[stream])
            assert torch.equal(torch.cat([part[step][1][stream] for part in parts]), y[stream])


def test_the_watch_sees_both_streams_and_a_rehearsal_cuts_both():
    seen = []

    def loss(x, y):
        seen.append(tuple(map(len, x)))
        return F.cross_entropy(network(x[0]), y[0]) + F.cross_entropy(network(x[1]), y[1])

    with seeded(0) as run:
        network = Network(mlp())
        watched = []
        run.watch = lambda phase, x, y: watched.append(len(y))
        plan = blobs(70).batches(30).beside(blobs(50, seed=1).batches(20))
        done = minimize(loss, network.parameters(), plan, phase="p", lr=0.1)
    assert watched == [30, 20, 30, 20, 10, 10]
    assert done.passes == 3 * 120
    with seeded(0), rehearsing() as rehearsed:
        network = Network(mlp())
        seen.clear()
        minimize(loss, network.parameters(), plan, phase="p", lr=0.1)
    assert min(seen)[1] < 20
    assert rehearsed.pieces[0].steps == 3
    assert rehearsed.pieces[0].passes == done.passes


def test_a_stream_of_no_samples_takes_no_step():
    assert len(blobs(8).batches(4).beside(blobs(8)[[]].batches(4))) == 0


# Phases of one name


def test_phases_of_one_name_are_joined():
    """Fault 22."""
    trace = Trace.of(Phase("max", [1.0], 1, 10, 0.5), Phase("min", [2.0, 3.0], 2, 20, 1.0), Phase("max", [4.0], 1, 30, 0.25))
    assert list(trace) == ["max", "min"]
    assert trace["max"] == Phase("max", [1.0, 4.0], 2, 40, 0.75)


def test_work_without_steps_is_a_phase():
    with seeded(0):
        network = Network(mlp())
        with phase("look") as done, torch.no_grad():
            network(blobs(20).batch(torch.arange(20))[0])
    assert (done.name, done.steps, done.passes) == ("look", 0, 20)
    assert done.seconds > 0


# Phases that take turns


def scrub(network, *, shared="student", rounds=3, forget=None, **how):
    """Two phases over other data, in the manner of SCRUB."""
    forget, retain = blobs(30, seed=2), blobs(60)
    network.train()
    return alternate(
        Turn(phase="max", loss=lambda x, y: -F.cross_entropy(network(x), y), parameters=network.parameters(), batches=forget.batches(10), lr=0.001, shared=shared, rounds=2),
        Turn(phase="min", loss=cross_entropy(network), parameters=network.parameters(), batches=retain.batches(20), lr=0.01, shared=shared, schedule="cosine"),
        rounds=rounds,
        **how,
    )


@pytest.mark.parametrize("shared", ["student", ""])
def test_turns_are_a_naive_loop_with_optimizers_that_live_on(shared):
    ours, naive = mlp(), mlp()
    with seeded(5) as run:
        network = Network(ours)
        trace = scrub(network, shared=shared)
        assert run.calls == 1
    assert {name: (p.steps, len(p.losses), p.passes) for name, p in trace.items()} == {"max": (6, 6, 180), "min": (9, 9, 540)}
    seed = mix(5, 1)
    high = list(blobs(30, seed=2).batches(10, epochs=2).run(seed))
    low = list(blobs(60).batches(20, epochs=3).run(mix(seed, 4, 1)))
    first = torch.optim.Adam(naive.parameters())
    second = first if shared else torch.optim.Adam(naive.parameters())
    naive.train()
    for r in range(3):
        for turn, steps, stepper, sign in ((high, 3, first, -1), (low, 3, second, 1)):
            for k in range(r * steps, (r + 1) * steps) if turn is low or r < 2 else ():
                x, y, _ = turn[k]
                for group in stepper.param_groups:
                    group["lr"] = 0.001 if sign < 0 else 0.01 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * k / 9, dtype=torch.float64)).item())
                stepper.zero_grad()
                (sign * F.cross_entropy(naive(x), y)).backward()
                stepper.step()
    for a, b in zip(ours.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_turn_may_take_a_few_steps_of_its_batches_each_round():
    seen = []
    weight = torch.zeros(1, requires_grad=True)

    def loss(x, y):
        seen.append(sorted(y.tolist()))
        return weight.sum()

    with seeded(0):
        samples = Samples(torch.zeros(6, 1), list(range(6)))
        trace = alternate(Turn(phase="a", loss=loss, parameters=[weight], batches=samples.batches(2), lr=0.1, steps=2), rounds=3)
    assert trace["a"].steps == 6
    # Six steps are two whole epochs of three batches.
    assert sorted(chain(*seen[:3])) == sorted(chain(*seen[3:])) == list(range(6))


def test_a_mask_puts_back_what_its_own_turn_moved_and_not_what_another_did():
    module = mlp()
    before = copy.deepcopy(module)
    with seeded(0):
        network = Network(module)
        how = {"loss": cross_entropy(network), "parameters": network.parameters(), "batches": blobs().batches(16), "lr": 0.05, "optimizer": "sgd"}
        met = []

        def look(phase, x, y):
            met.append((phase, [p.detach().clone() for p in module.parameters()]))

        current().watch = look
        nothing = [torch.zeros_like(p, dtype=torch.bool) for p in module.parameters()]
        alternate(Turn(phase="held", mask=nothing, weight_decay=0.1, steps=1, **how), Turn(phase="free", steps=2, **how), rounds=3)
    for (one, start), (_, end) in zip(met, [*met[1:], ("", list(module.parameters()))], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(start, end, strict=True)) == (one == "held")
    assert not same(before, module)


def test_turns_that_share_an_optimizer_share_what_they_move():
    one, other = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    batches = Samples(torch.zeros(2, 1), [0, 0]).batches(2)
    turns = [Turn(phase=f"{i}", loss=lambda x, y, w=w: w.sum(), parameters=[w], batches=batches, lr=0.1, shared="both") for i, w in enumerate((one, other))]
    with seeded(0), pytest.raises(BadArgument, match="0 and 1 share an optimizer"):
        alternate(*turns, rounds=2)


def test_a_rehearsal_of_turns_counts_all_rounds():
    with seeded(0):
        trace = scrub(Network(mlp()))
    with seeded(0), rehearsing() as rehearsed:
        module = mlp()
        scrub(Network(module))
    assert [(p.name, p.steps) for p in rehearsed.pieces] == [("max", 6), ("min", 9)]
    assert [p.passes for p in rehearsed.pieces] == pytest.approx([p.passes for p in trace.values()], abs=2)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), mlp().parameters(), strict=True))


# A kill


@pytest.fixture(autouse=True)
def saved_at_every_look(monkeypatch):
    """A state is saved wherever it may be, whatever that costs."""
    monkeypatch.setattr(resume, "WORTH", 0.0)


def goes_on(work, kills, tmp_path):
    """The bits of a whole run, and those of one that was killed at these places."""
    whole = work(None)
    for kill in kills:
        with pytest.raises(Killed):
            work(tmp_path, progress=kill_at(*kill))
    seen = []
    again = work(tmp_path, progress=kill_at(None, None, seen))
    return whole, again, seen


def long_turns(store, progress=None, shared="student"):
    module = mlp(dropout=0.4)
    with seeded(3, store=store, **({"progress": progress} if progress else {})):
        network = Network(module)
        trace = scrub_long(network, shared)
    return module, trace


def scrub_long(network, shared):
    network.train()
    turns = (("max", -1, blobs(30, seed=2), 2, "adam"), ("min", 1, blobs(60), 4, "adam"))
    return alternate(
        *(
            Turn(
                phase=name,
                loss=lambda x, y, sign=sign: sign * F.cross_entropy(network(x), y),
                parameters=network.parameters(),
                batches=data.batches(size),
                lr=0.001,
                optimizer=kind,
                shared=shared,
                weight_decay=0.01,
            )
            for name, sign, data, size, kind in turns
        ),
        rounds=6,
    )


@pytest.mark.parametrize("shared", ["student", ""])
def test_turns_go_on_after_kills_to_the_same_bits(shared, tmp_path):
    whole, again, seen = goes_on(lambda store, progress=None: long_turns(store, progress, shared), [("max", 40), ("min", 47), ("max", 85)], tmp_path)
    assert same(whole[0], again[0])
    assert {n: (p.losses, p.passes) for n, p in whole[1].items()} == {n: (p.losses, p.passes) for n, p in again[1].items()}
    assert seen[0] != ("max", 1)


def averaged(store, progress=None, carried=True):
    """A loss with a moving average of the weights: state of its own."""
    module = mlp()
    with seeded(0, store=store, **({"progress": progress} if progress else {})):
        network = Network(module)
        network.train()
        mean = {f"{i}": p.detach().clone() for i, p in enumerate(network.parameters())}

        def loss(x, y):
            pull = sum((p - m).square().sum() for p, m in zip(network.parameters(), mean.values(), strict=True))
            with torch.no_grad():
                for p, m in zip(network.parameters(), mean.values(), strict=True):
                    m.mul_(0.9).add_(p, alpha=0.1)
            return F.cross_entropy(network(x), y) + pull

        done = minimize(loss, network.parameters(), blobs().batches(2, epochs=4), phase="p", lr=0.01, carry=mean if carried else None)
    return module, done


def test_carried_state_survives_a_kill(tmp_path):
    """Fault 10: what a loss keeps from step to step."""
    whole, again, _ = goes_on(averaged, [("p", 100)], tmp_path)
    assert same(whole[0], again[0])


class BadTeacher:
    """Fits a second network with BatchNorm, then distils from it."""

    def __call__(self, store, progress=None):
        module = mlp(dropout=0.2)
        with seeded(0, store=store, **({"progress": progress} if progress else {})):
            network = Network(module)
            other = Network(mlp(seed=7))
            fit(other, blobs(seed=3), phase="teach", lr=0.05, epochs=2, batch=2)
            network.train()

            def loss(x, y):
                return F.mse_loss(network(x), other(x).detach())

            minimize(loss, network.parameters(), blobs().batches(2, epochs=2), phase="distil", lr=0.01)
        return module


@pytest.mark.parametrize("kill", [("teach", 60), ("distil", 3), ("distil", 60)])
def test_a_second_network_survives_a_kill(kill, tmp_path):
    """Fault 10: every network that is made within a run is part of its state."""
    whole, again, _ = goes_on(BadTeacher(), [kill], tmp_path)
    assert same(whole, again)


# Frozen networks


def test_a_teacher_that_moves_ends_the_run():
    module = mlp()

    def run():
        with seeded(0), torch.no_grad():
            Network(module).teacher().parameters()[0].add_(1e-3)

    with pytest.raises(Shared, match="teacher 1 of this run moved"):
        run()


def test_a_teacher_that_is_the_student_ends_the_run():
    """A shallow copy: the student moves, and the teacher with it."""
    module = mlp()

    def run():
        with seeded(0, network=Network(module)):
            Network(copy.copy(module))

    with pytest.raises(Shared, match=r"share 0\.weight"):
        run()


def test_a_teacher_that_stays_is_no_matter():
    module = mlp()
    with seeded(0):
        network = Network(module)
        teacher = network.teacher()
        fit(network, blobs(), phase="p", lr=0.1, epochs=1, batch=16)
        assert not torch.equal(network.parameters()[0], teacher.parameters()[0])


# A folder of another run


def finetuned(store, *, seed=0, lr=0.01, epochs=2, size=8, samples=None, progress=None):
    module = mlp()
    with seeded(seed, store=store, **({"progress": progress} if progress else {})):
        fit(Network(module), samples or blobs(), phase="p", lr=lr, epochs=epochs, batch=size, optimizer="sgd")
    return module


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 7}, "seed was 0 and is 7"),
        ({"lr": 0.5}, "turns was"),
        ({"size": 4}, "turns was"),
        ({"epochs": 1}, "turns was"),
        ({"samples": blobs(seed=9)}, "turns was"),
        ({"samples": blobs()[:80]}, "turns was"),
    ],
    ids=repr,
)
def test_a_folder_of_another_run_is_not_taken_up(other, said, tmp_path):
    """Fault 9: another seed, rate, batch, length or other data; nothing is put in, and the same run still goes on."""
    whole = finetuned(tmp_path)
    with pytest.raises(BadData, match=said):
        finetuned(tmp_path, **other)
    assert same(finetuned(tmp_path), whole)


def test_another_method_does_not_take_up_a_folder(tmp_path):
    """Fault 9: the run says what it is of."""
    from untrain.core.unlearn import unlearn
    from untrain.methods.finetune import FineTune

    model, split = mlp(), small_split()
    unlearn(model, split, FineTune(epochs=1, batch=16), store=tmp_path)
    with pytest.raises(BadData, match="model was"):
        unlearn(mlp(seed=5), split, FineTune(epochs=1, batch=16), store=tmp_path)
    with pytest.raises(BadData, match="method was"):
        unlearn(model, split, FineTune(epochs=1, batch=16, samples=9), store=tmp_path)


@pytest.mark.parametrize(("worth", "times"), [(0.0, 12), (1e12, 2)])
def test_a_state_is_saved_by_what_it_costs(worth, times, tmp_path, monkeypatch):
    """Fault 37: not every 50 steps, but so seldom that a saving is worth its time; the first, whose time is not known yet, and the last are always there."""
    saved = []
    monkeypatch.setattr(resume, "WORTH", worth)
    monkeypatch.setattr(resume.files, "save_weights", lambda path, tensors, about: saved.append(about["phases"][0]["steps"]))
    finetuned(tmp_path, epochs=60, size=8)
    assert saved[0] == 60
    assert len(saved) == times


def test_the_state_of_an_ended_call_holds_no_optimizer(tmp_path):
    """Fault 37."""
    from safetensors.torch import load_file

    finetuned(tmp_path)
    assert not [name for name in load_file(tmp_path / "call-0001.safetensors") if name.startswith("optimizer")]


def test_core_runs_by_itself_on_one_rank():
    assert (Engine().rank, Engine().world) == (0, 1)
    with seeded(0):
        assert current().calls == 0
