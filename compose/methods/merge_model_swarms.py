"""`merge.model_swarms`: members search together for a better one (Feng et al. 2024, 2410.11163).

Version 1. A particle swarm over weight space. Every position is a linear combination of the
members, so a particle is a vector of n coefficients, exact on a grid of 1e-6, and no delta is
added up before a position is scored. The score is the accuracy on the dev suite; x is a particle's
position, v its velocity, p its best position so far, g the swarm's best and w its worst so far.

    start   x_i = p_i = member i; v_i = x_j - x_i for the other member j whose stream
            (seed, contribution i, contribution j) begins with the smallest integer; 0 if alone
    step t  of each particle, with g and w as they were after step t - 1:
            (c_v, c_p, c_g, c_w) = (0.2 r_1, 0.3 r_2, 0.4 r_3, 0.05 r_4) over their sum,
            r uniform in (0, 1] from the stream (seed, contribution i, t)
            v = c_v v + c_p (p - x) + c_g (g - x) + c_w (x - w);  x = x + L v
            L = 0.5 * 0.95^(t - 1), at least 0.1
    restart a particle that has not improved its p for 3 steps continues at p with v = 0
    end     after `steps` steps, or when g has not improved for `patience` steps; the result is g

Better means strictly better: of equal positions the earlier counts, within a step the smaller id.
A single member is that member, bit for bit. A copy of a member is a particle of its own, with its
own streams; it pulls as the original does where one of them is g. A member whose coefficient in g
is zero changes nothing. The coefficients are part of the digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul
from typing import ClassVar

from compose.methods.devscores import Coefficients, DevScores, learned_sum, on_grid, unit
from compose.methods.method import Assembly, Context, Method, Number, Parameters
from compose.streams import draw, uniform

INERTIA, COGNITIVE, SOCIAL, REPEL = map(Fraction, ("0.2", "0.3", "0.4", "0.05"))
LENGTH, SHORTER, SHORTEST = map(Fraction, ("0.5", "0.95", "0.1"))
RESTART = 3


class MergeModelSwarms(Method):
    """The best position that a swarm of the members finds."""

    name = "merge.model_swarms"
    version = "1"
    level = "weight"
    needs_dev = True
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "steps": Number("10", "0", "100", "steps of every particle", integer=True),
        "patience": Number("5", "1", "100", "steps without a better position", integer=True),
    }

    def assemble(self, context: Context) -> Assembly:
        """Let the swarm search and merge the members into one model."""
        ids = [member.id for member in context.members]
        steps = int(context.number("steps"))
        scores = DevScores(context, expected=len(ids) * (steps + 1))
        swarm = Swarm(ids, context.seed, scores.accuracy)
        idle = 0
        for step in range(1, steps + 1):
            idle = 0 if swarm.move(step) else idle + 1
            if idle == context.number("patience"):
                break
        return learned_sum(context, swarm.best.at)


@dataclass(frozen=True, slots=True)
class Scored:
    """A position and its score."""

    at: Coefficients
    score: Fraction


@dataclass(slots=True)
class Particle:
    """Where one member's particle is, where it goes, and the best it has seen."""

    id: str
    x: Coefficients
    v: Coefficients
    best: Scored
    idle: int = 0


class Swarm:
    """Particles, one for each member, and the best and the worst position any has seen."""

    def __init__(
        self, ids: Sequence[str], seed: int, score: Callable[[Coefficients], Fraction]
    ) -> None:
        """Put each particle on its member."""
        self._seed = seed
        self._score = score
        starts = [unit(number, len(ids)) for number in range(len(ids))]
        seen = [Scored(start, score(start)) for start in starts]
        self.particles = [
            Particle(id_, start.at, _minus(starts[self._towards(number, ids)], start.at), start)
            for number, (id_, start) in enumerate(zip(ids, seen, strict=True))
        ]
        self.best = max(seen, key=lambda each: each.score)
        self.worst = min(seen, key=lambda each: each.score)

    def move(self, step: int) -> bool:
        """Move every particle once; return whether a better position was found."""
        for particle in self.particles:
            self._advance(particle, step)
        before = self.best
        for particle in self.particles:
            found = Scored(particle.x, self._score(particle.x))
            _remember(particle, found)
            self.best = max(self.best, found, key=lambda each: each.score)
            self.worst = min(self.worst, found, key=lambda each: each.score)
        return self.best is not before

    def _towards(self, number: int, ids: Sequence[str]) -> int:
        """Return which other member a particle starts towards, itself if it is alone."""
        others = [other for other in range(len(ids)) if other != number]
        return min(others, key=lambda other: self._first(ids[number], ids[other]), default=number)

    def _first(self, id_: str, other: str) -> int:
        return int(draw(self._seed, MergeModelSwarms.name, id_, other, count=1)[0])

    def _advance(self, particle: Particle, step: int) -> None:
        bits = draw(self._seed, MergeModelSwarms.name, particle.id, step, count=4)
        shares = [
            factor * chance
            for factor, chance in zip(
                (INERTIA, COGNITIVE, SOCIAL, REPEL), uniform(bits), strict=True
            )
        ]
        x = particle.x
        pulls = (
            particle.v,
            _minus(particle.best.at, x),
            _minus(self.best.at, x),
            _minus(x, self.worst.at),
        )
        particle.v = tuple(
            on_grid(sum(map(mul, shares, pull), Fraction(0)) / sum(shares))
            for pull in zip(*pulls, strict=True)
        )
        length = max(LENGTH * SHORTER ** (step - 1), SHORTEST)
        particle.x = tuple(
            on_grid(at + length * speed) for at, speed in zip(x, particle.v, strict=True)
        )


def _remember(particle: Particle, found: Scored) -> None:
    """Keep a better position; after too many steps without one, go back to the best."""
    if found.score > particle.best.score:
        particle.best, particle.idle = found, 0
        return
    particle.idle += 1
    if particle.idle == RESTART:
        particle.x, particle.idle = particle.best.at, 0
        particle.v = (Fraction(0),) * len(particle.v)


def _minus(one: Coefficients, other: Coefficients) -> Coefficients:
    return tuple(a - b for a, b in zip(one, other, strict=True))
