"""Reads what a process costs from /proc (Linux): CPU time, resident memory. Starts and stops nothing."""

import os

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat counted from the one after the command name: state is 0, utime 11, stime 12, ppid 1.
PARENT, USER_TIME, SYSTEM_TIME = 1, 11, 12


def family(pid: int) -> list[int]:
    """The process and all that descend from it: HAProxy and others may fork workers."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                parents[int(entry)] = int(fields[PARENT])
    found = [pid]
    for one in found:
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of the processes, all threads, in seconds (10 ms steps)."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])
    return ticks / TICKS_PER_SECOND


def resident_bytes(pids: list[int]) -> int:
    return sum(_status_kib(pid, "VmRSS") for pid in pids) * 1024


def peak_resident_bytes(pids: list[int]) -> int:
    """The most memory each process ever had; meaningful for a process started for this one measurement."""
    return sum(_status_kib(pid, "VmHWM") for pid in pids) * 1024


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name may hold spaces and brackets; the last bracket ends it.
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _status_kib(pid: int, key: str) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status has no {key}")
