"""The machine can fail: it finds each fault that is planted in the code."""

import pytest

from .looking import first_failure
from .planted import FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    fault = FAULTS[name]
    with fault.plant():
        _, found = first_failure(fault.kinds, fault.examples, fault.only)
    assert found is not None
