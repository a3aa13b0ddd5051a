"""What a worker has in its environment."""

from backends import LitellmPlan, Secret
from backends.litellm.plan import environment_of

PLAN = LitellmPlan(endpoints={}, fields=frozenset())


def test_nothing_is_inherited() -> None:
    found = environment_of(PLAN)
    assert found["HOME"] == "/nonexistent"
    assert found["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "USER", "PWD"} & found.keys()


def test_what_the_settings_name_counts_over_all_else() -> None:
    plan = LitellmPlan(
        endpoints={},
        fields=frozenset(),
        environment={"HOME": Secret("/home/x"), "AWS_ACCESS_KEY_ID": Secret("AKIA")},
    )
    found = environment_of(plan)
    assert found["HOME"] == "/home/x"
    assert found["AWS_ACCESS_KEY_ID"] == "AKIA"


def test_proxy_and_authorities_of_the_gateway_hold_for_it() -> None:
    plan = LitellmPlan(
        endpoints={},
        fields=frozenset(),
        proxy=Secret("http://u:p@proxy.example:3128"),
        no_proxy=".internal",
        ca_file="/etc/ca.pem",
    )
    found = environment_of(plan)
    assert found["HTTPS_PROXY"] == found["HTTP_PROXY"] == "http://u:p@proxy.example:3128"
    assert found["NO_PROXY"] == ".internal,localhost,127.0.0.1,::1"
    assert found["SSL_CERT_FILE"] == found["AWS_CA_BUNDLE"] == "/etc/ca.pem"
    assert "HTTPS_PROXY" not in environment_of(PLAN)
