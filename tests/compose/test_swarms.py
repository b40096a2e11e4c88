"""The swarm of merge.model_swarms on score functions that can be written down."""

from __future__ import annotations

from fractions import Fraction

import pytest

from compose.methods.devscores import Coefficients
from compose.methods.merge_model_swarms import Swarm
from compose.streams import draw, uniform

METHOD = "merge.model_swarms"
IDS = ["a", "b", "c"]
TARGET = (Fraction("0.5"), Fraction("0.25"), Fraction("0.25"))


def near_target(at: Coefficients) -> Fraction:
    return -sum(((x - y) ** 2 for x, y in zip(at, TARGET, strict=True)), Fraction(0))


def flat(at: Coefficients) -> Fraction:
    return Fraction(len(at), 7)


def test_a_swarm_moves_as_published() -> None:
    """The update rule of Feng et al. in plain floating point, three steps of three particles."""
    swarm = Swarm(IDS, 5, near_target)
    n = len(IDS)
    x = [[float(a == b) for b in range(n)] for a in range(n)]
    first = [
        min(
            (b for b in range(n) if b != a),
            key=lambda b, a=a: int(draw(5, METHOD, IDS[a], IDS[b], count=1)[0]),
        )
        for a in range(n)
    ]
    v = [[x[first[a]][k] - x[a][k] for k in range(n)] for a in range(n)]

    def score(at: list[float]) -> float:
        return -sum((a - float(b)) ** 2 for a, b in zip(at, TARGET, strict=True))

    p = [list(each) for each in x]
    g, w = max(p, key=score), min(p, key=score)
    for step in (1, 2, 3):
        swarm.move(step)
        for a in range(n):
            chances = uniform(draw(5, METHOD, IDS[a], step, count=4))
            shares = [c * float(r) for c, r in zip((0.2, 0.3, 0.4, 0.05), chances, strict=True)]
            for k in range(n):
                pulls = v[a][k], p[a][k] - x[a][k], g[k] - x[a][k], x[a][k] - w[k]
                v[a][k] = sum(s * q for s, q in zip(shares, pulls, strict=True)) / sum(shares)
            x[a] = [x[a][k] + 0.5 * 0.95 ** (step - 1) * v[a][k] for k in range(n)]
        p = [max(p[a], list(x[a]), key=score) for a in range(n)]
        g, w = max([g, *p], key=score), min([w, *map(list, x)], key=score)
        for particle, expected in zip(swarm.particles, x, strict=True):
            assert list(map(float, particle.x)) == pytest.approx(expected, abs=1e-5)
        assert list(map(float, swarm.best.at)) == pytest.approx(g, abs=1e-5)
        assert list(map(float, swarm.worst.at)) == pytest.approx(w, abs=1e-5)


def test_a_swarm_finds_what_no_member_is() -> None:
    swarm = Swarm(IDS, 0, near_target)
    before = swarm.best.score
    assert any(swarm.move(step) for step in range(1, 11))
    assert swarm.best.score > before / 2
    assert all((weight * 1_000_000).denominator == 1 for weight in swarm.best.at)


def test_weights_always_sum_to_one() -> None:
    swarm = Swarm(["a", "b", "c", "d"], 3, near_first)
    for step in range(1, 9):
        swarm.move(step)
        for particle in swarm.particles:
            assert abs(sum(particle.x) - 1) < Fraction(step, 100_000)


def near_first(at: Coefficients) -> Fraction:
    return -abs(at[0] - Fraction(2, 3))


def test_without_a_member_the_others_start_towards_whom_they_did() -> None:
    whole = Swarm(["a", "b", "c", "d"], 0, flat)
    for position, left_out in enumerate("abcd"):
        rest = [id_ for id_ in "abcd" if id_ != left_out]
        fewer = {each.id: each for each in Swarm(rest, 0, flat).particles}
        for particle in whole.particles:
            if particle.id != left_out and not particle.v[position]:
                kept = (*particle.v[:position], *particle.v[position + 1 :])
                assert fewer[particle.id].v == kept


def test_where_nothing_gets_better_particles_go_back_and_the_first_member_wins() -> None:
    swarm = Swarm(IDS, 0, flat)
    starts = [particle.x for particle in swarm.particles]
    assert not any(swarm.move(step) for step in (1, 2))
    assert [particle.x for particle in swarm.particles] != starts
    assert not swarm.move(3)
    assert [particle.x for particle in swarm.particles] == starts
    assert not any(speed for particle in swarm.particles for speed in particle.v)
    assert swarm.best.at == starts[0]


def test_a_single_particle_stays_where_it_is() -> None:
    swarm = Swarm(["a"], 0, flat)
    assert not any(swarm.move(step) for step in range(1, 6))
    assert swarm.best.at == swarm.particles[0].x == (1,)
