"""The best one-to-one assignment of rows to columns (Kuhn-Munkres by shortest augmenting paths)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best_assignment(gains: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) with the greatest sum of `gains` [R, C], min(R, C) of them, sorted by row.

    After Jonker and Volgenant 1987 (successive shortest paths), O(R² C) with R ≤ C.
    """
    if gains.shape[0] > gains.shape[1]:
        return sorted((row, column) for column, row in best_assignment(gains.T))
    rows, columns = gains.shape
    cost = -gains
    of_row, of_column = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for row in range(rows):
        # Dijkstra over columns, in reduced costs, from `row` to the nearest column that is free
        distance = np.full(columns, np.inf)
        before = np.full(columns, -1)
        done = np.zeros(columns, dtype=bool)
        at, column, reached = row, -1, 0.0
        while True:
            step = reached + cost[at] - of_row[at] - of_column
            nearer = ~done & (step < distance)
            distance[nearer], before[nearer] = step[nearer], column
            column = int(np.argmin(np.where(done, np.inf, distance)))
            done[column], reached = True, float(distance[column])
            at = int(row_of[column])
            if at < 0:
                break
        of_row[row] += reached
        for other in np.flatnonzero(done):
            if other != column:
                of_row[row_of[other]] += reached - distance[other]
                of_column[other] -= reached - distance[other]
        while column >= 0:
            above = int(before[column])
            row_of[column] = row if above < 0 else row_of[above]
            column = above
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)
