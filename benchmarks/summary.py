"""The few ratios that a run is judged by; null where one side of them is missing."""

from collections.abc import Mapping
from typing import Any

from benchmarks.measure import cpu_per_saga, ratio

Found = Mapping[str, Any]


def summary(found: Found) -> dict[str, float | None]:
    """The line of JSON that a run ends with.

    Returns:
        a_vs_dbos, a_vs_restate: our sagas a second by theirs, 50 at once; more is better.
        b_p50_vs_best: our median time of a lone saga by that of the better peer; less is better.
        b_p50_vs_floor: our median time by that of bare inserts of the same rows, in as many transactions.
        b_floor_vs_best: that of the bare inserts by that of the better peer.
        c_vs_dbos, c_vs_restate: as A, with one in five rolled back.
        f_vs_dbos_sqlite: as A, both on SQLite.
        a_vs_floor: which share we reach of what bare inserts of the same rows do.
        e_cpu_2_vs_1: processor seconds per saga, of workers and server, with 2 processes by those with one.
        e_rate_2_vs_1: sagas a second with 2 processes by those with one.
        e_share_of_cores: with 2 processes, which share of all cores workers and server keep busy.
        growth_1m: processor seconds per saga on 1,000,000 finished ones by those on 10,000.
        h_dry_vs_real: processor seconds per dry run, the server's too, by those per lone real saga.
    """
    two, one = found.get("E", {}).get("2"), found.get("E", {}).get("1")
    growth = found.get("growth", {})
    theirs = [p50 for who in ("dbos", "restate") if (p50 := _of(found, "B", who, "p50"))]
    return {
        "a_vs_dbos": _versus(found, "A", "ours", "dbos"),
        "a_vs_restate": _versus(found, "A", "ours", "restate"),
        "a_vs_floor": _versus(found, "A", "ours", "floor"),
        "b_p50_vs_best": ratio(_of(found, "B", "ours", "p50"), min(theirs, default=None)),
        "b_p50_vs_floor": ratio(_of(found, "B", "ours", "p50"), _of(found, "B", "floor-alone", "p50")),
        "b_floor_vs_best": ratio(_of(found, "B", "floor-alone", "p50"), min(theirs, default=None)),
        "c_vs_dbos": _versus(found, "C", "ours", "dbos"),
        "c_vs_restate": _versus(found, "C", "ours", "restate"),
        "f_vs_dbos_sqlite": _versus(found, "F", "ours-sqlite", "dbos-sqlite"),
        "e_cpu_2_vs_1": ratio(cpu_per_saga(two), cpu_per_saga(one)) if one and two else None,
        "e_rate_2_vs_1": ratio(two["per_second"], one["per_second"]) if one and two else None,
        "e_share_of_cores": _busy(two, found.get("cores")) if two else None,
        "growth_1m": ratio(_growth(growth, "1000000"), _growth(growth, "10000")),
        "h_dry_vs_real": _dry(found.get("H", {})),
    }


def _of(found: Found, case: str, who: str, what: str) -> float | None:
    value: float | None = found.get("cases", {}).get(case, {}).get(who, {}).get(what)
    return value


def _versus(found: Found, case: str, who: str, peer: str) -> float | None:
    return ratio(_of(found, case, who, "per_second"), _of(found, case, peer, "per_second"))


def _dry(parts: Found) -> float | None:
    if "dry" not in parts:
        return None
    return ratio(cpu_per_saga(parts["dry"]), cpu_per_saga(parts["real"]))


def _busy(two: Found, cores: int | None) -> float | None:
    each = cpu_per_saga(two)
    return ratio(two["per_second"] * each, cores) if each is not None else None


def _growth(growth: Found, history: str) -> float | None:
    at = growth.get(history)
    return cpu_per_saga(at["run"]) if at else None
