"""One HiGHS model of a program, kept warm while bounds, costs and integrality change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from polysilicon.highs import Solver
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program

Progress = Callable[[float, str], None]


class Engine:
    """A HiGHS model of a program; bounds, costs and integrality may change between solves."""

    def __init__(self, program: Program) -> None:
        self.program = program
        matrices = program.model.matrices
        self.matrix, self.row_lower, self.row_upper = _rows(matrices)
        self.cost = np.asarray(matrices.c, float)
        self.solver = _loaded(matrices, self.matrix, self.row_lower, self.row_upper)
        self.columns = np.asarray(matrices.vlabels)  # label of each column
        self.row_labels = np.asarray(matrices.clabels)
        self.column_of = np.full(int(self.columns.max(initial=-1)) + 1, -1, np.int64)
        self.column_of[self.columns] = np.arange(len(self.columns))
        self.row_of = np.full(int(self.row_labels.max(initial=-1)) + 1, -1, np.int64)
        self.row_of[self.row_labels] = np.arange(len(self.row_labels))
        model = self.solver.highs.getLp()
        self.lower, self.upper = np.array(model.col_lower_), np.array(model.col_upper_)
        integer = np.concatenate([*program.integers.values(), np.empty(0, np.int64)])
        self.integer_columns = self.column_of[integer.astype(np.int64)]

    def reset_bounds(self, columns: I8) -> None:
        """Give columns their first bounds back."""
        self.solver.bounds(columns, self.lower[columns], self.upper[columns])


def _rows(matrices: Any) -> tuple[sparse.csr_matrix, F8, F8]:
    """Return the rows of a linopy model: matrix, lower and upper bound."""
    matrix = matrices.A.tocsr() if matrices.A is not None else sparse.csr_matrix((0, len(matrices.vlabels)))
    return matrix, np.where(matrices.sense != "<", matrices.b, -np.inf), np.where(matrices.sense != ">", matrices.b, np.inf)


def _loaded(matrices: Any, rows: sparse.csr_matrix, lower: F8, upper: F8) -> Solver:
    """Return a solver with the matrices of a linopy model; linopy's own hand-over prints a banner on stdout."""
    solver = Solver()
    solver.highs.addVars(len(matrices.vlabels), matrices.lb, matrices.ub)
    solver.integrality(np.flatnonzero(np.isin(matrices.vtypes, ["B", "I"])), integer=True)
    solver.highs.changeColsCost(len(matrices.vlabels), np.arange(len(matrices.vlabels), dtype=np.int32), matrices.c)
    if rows.shape[0]:
        solver.highs.addRows(rows.shape[0], lower, upper, rows.nnz, rows.indptr, rows.indices, rows.data)
    return solver
