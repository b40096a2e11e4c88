"""What can go wrong when values are computed, published or recomputed.

EvidenceError
|- OutcomeError                 3  bad-outcomes      an evaluator answered something else
|- RecomputeError               3  bad-values        published values do not follow from the table
`- MalformedError
   |- TableError                3  bad-table
   `- RecordError               3  bad-record
UsageError
`- EstimatorError               2  bad-estimator     unknown, too large or too small a budget
IncompleteError
`- MissingCoalitionsError       9  missing-coalitions
"""

from __future__ import annotations

from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    UsageError,
)


class TableError(MalformedError):
    """A coalition table that is not in the one accepted form."""

    code = "bad-table"
    default_hint = "fetch the table again by its CID; a valid one is never repaired by hand"


class RecordError(MalformedError):
    """An attribution record that is not in the one accepted form."""

    code = "bad-record"
    default_hint = "fetch the record again by its id; a valid one is never repaired by hand"


class RecomputeError(EvidenceError):
    """A published figure that does not follow from the published table."""

    code = "bad-values"
    default_hint = "do not rely on these values; run 'pnode attribute' to compute them afresh"


class ReportError(EvidenceError):
    """Figures for a report that contradict one another."""

    code = "bad-report"
    default_hint = "run 'pnode audit' to see which record is wrong, then write the report again"


class OutcomeError(EvidenceError):
    """An evaluator returned outcomes that were not asked for, or of the wrong length."""

    code = "bad-outcomes"
    default_hint = "check that the evaluator scores every item of every suite exactly once"


class EstimatorError(UsageError):
    """An estimator, budget, confidence or seed that cannot be used."""

    code = "bad-estimator"
    default_hint = "use --estimator auto, or see 'pnode attribute --help'"


class MissingCoalitionsError(IncompleteError):
    """A coalition that the computation needs is not in the table; it is never imputed."""

    code = "missing-coalitions"
    default_hint = "evaluate the missing coalitions by running 'pnode attribute' again"
