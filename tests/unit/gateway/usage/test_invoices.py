"""A provider's bill is read exactly, or refused with the line that is wrong."""

import pytest

from gateway.usage.invoices import BadBill, Billed, read

DAY = "2026-11-23"
KIMI = (DAY, "kimi-k2.6")


def only(amount: str) -> Billed:
    """What a bill with one row asks for."""
    return read(f'date,model,amount\n{DAY},kimi-k2.6,"{amount}"\n', currency="USD").billed[KIMI]


@pytest.mark.parametrize(
    ("text", "pico", "rounding"),
    [
        ("1", 10**12, 0),
        ("0.000000000001", 1, 0),
        ("12.34", 12_340_000_000_000, 5_000_000_000),
        ("$12.34", 12_340_000_000_000, 5_000_000_000),
        ("US$ 12.340", 12_340_000_000_000, 500_000_000),
        ("12.34 USD", 12_340_000_000_000, 5_000_000_000),
        ("1,234,567.8", 1_234_567_800_000_000_000, 50_000_000_000),
        ("-0.5", -500_000_000_000, 50_000_000_000),
        ("5e-05", 50_000_000, 5_000_000),
        ("1E+3", 10**15, 0),
        ("98765432109876543210.123456789012", 98765432109876543210123456789012, 0),
    ],
)
def test_an_amount_is_exact_and_known_to_its_last_decimal(
    text: str, pico: int, rounding: int
) -> None:
    assert only(text) == Billed(pico, rounding)


@pytest.mark.parametrize("amount", ["¥ 12.34", "12.34 CNY", "€12.34", "$1 EUR"])
def test_an_amount_that_says_another_currency_is_not_taken_for_this_one(amount: str) -> None:
    with pytest.raises(BadBill, match=r"line 2: it is in (CNY|EUR), and should be in USD"):
        only(amount)


def test_a_symbol_says_the_currency_where_nothing_else_does() -> None:
    bill = read(f"date,model,amount\n{DAY},kimi-k2.6,¥12.34\n")
    assert (bill.currency, bill.billed[KIMI].pico) == ("CNY", 12_340_000_000_000)


@pytest.mark.parametrize(
    "text", ["", "free", "nan", "1,23", "1e30", "0.0000000000001", "1.2.3", "--1", "1e-99999999"]
)
def test_what_is_no_amount_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BadBill, match="line 2: "):
        only(text)


def test_rows_of_a_day_and_model_are_added_with_what_each_may_be_rounded() -> None:
    bill = read(
        "Usage Date,Model Name,Total-Cost,Currency\r\n"
        f"{DAY}T23:30:00-01:00,Kimi-K2.6,0.10,usd\r\n"
        "2026-11-24,kimi-k2.6,0.2,USD\r\n"
        "\r\n"
        '2026-11-24,"kimi, large",3,USD\r\n'
    )
    assert bill.currency == "USD"
    assert bill.rows == 3
    assert bill.billed == {
        ("2026-11-24", "kimi-k2.6"): Billed(300_000_000_000, 5_000_000_000 + 50_000_000_000),
        ("2026-11-24", "kimi, large"): Billed(3 * 10**12, 0),
    }


def test_all_lines_that_are_wrong_are_told_together() -> None:
    with pytest.raises(BadBill) as refused:
        read(
            f"date,model,amount\n{DAY},kimi\nyesterday,kimi,1\n{DAY},,1\n{DAY},kimi,much\n",
            currency="USD",
        )
    assert str(refused.value).splitlines() == [
        "line 2: it has 2 cells, the heads are 3",
        "line 3: 'yesterday' is no day: write it as 2026-11-23",
        "line 4: it names no model",
        "line 5: 'much' is no amount: write it as 1234.56",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("when,model,amount\n", "--date-column"),
        (f"date,model,amount\n{DAY},kimi,1\n", "--currency"),
        (f"date,model,amount,currency\n{DAY},a,1,USD\n{DAY},b,1,CNY\n", "CNY, USD"),
        (f'date,model,amount\n{DAY},"kimi,1\n', "it is not CSV"),
    ],
)
def test_a_file_that_cannot_be_a_bill_is_refused_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(BadBill, match=said):
        read(text)


def test_columns_can_be_named_and_another_currency_is_refused() -> None:
    text = f"when,what,price\n{DAY},kimi-k2.6,7\n"
    columns = {"date": "when", "model": "What", "amount": "price"}
    assert read(text, currency="CNY", columns=columns).billed[KIMI] == Billed(7 * 10**12, 0)
    with pytest.raises(BadBill, match="line 2: it is in USD, and should be in CNY"):
        read(f"date,model,amount,currency\n{DAY},kimi,1,USD\n", currency="CNY")
