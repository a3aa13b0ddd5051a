"""The contract of all kinds of endpoints, held against what litellm speaks to."""

from tests.contract.adapters.test_good_answers import *  # noqa: F403 - the same tests, with `upstream` of here
