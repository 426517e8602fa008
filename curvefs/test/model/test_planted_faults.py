"""The machine can fail: it finds each fault that is planted in the code."""

import pytest

from .looking import failure, first_failure
from .planted import FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    fault = FAULTS[name]
    with fault.plant():
        if fault.script is not None:
            found = failure(fault.script)
        else:
            _, found = first_failure(fault.kinds, fault.only)
    assert found is not None


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.script is not None])
def test_its_script_is_clean_without_it(name):
    assert failure(FAULTS[name].script) is None
