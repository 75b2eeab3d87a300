"""All ways in which the fuzz suite breaks folders. Each changes a copy of a valid one at random."""

from __future__ import annotations

import random
from collections.abc import Callable

from fuzz_bases import Base
from fuzz_damage import Damage
from fuzz_data import (
    bytes_of_scan,
    bytes_within_scan,
    claimed_size,
    description_bytes,
    description_structure,
    table_bytes,
    table_structure,
)
from fuzz_files import odd_case_name, odd_file, odd_folder
from fuzz_own_files import audit_files, decisions, probabilities, run_files

Mutation = Callable[[Base, random.Random], Damage]

MUTATIONS: tuple[Mutation, ...] = (
    *(bytes_of_scan, bytes_of_scan, bytes_within_scan, bytes_within_scan, claimed_size),
    *(description_structure, description_structure, description_bytes, table_structure, table_structure, table_bytes),
    *(odd_file, odd_file, odd_folder, odd_case_name, odd_case_name),
    *(run_files, run_files, audit_files, decisions, probabilities),
)
