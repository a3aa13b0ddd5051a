"""The contract of all kinds of endpoints, held against the real vLLM."""

from tests.contract.adapters.test_good_answers import *  # noqa: F403 - the same tests, with `upstream` of here
