"""What a price list says, read independently of the program: every price as an exact decimal.

Prints one JSON object from model names to {"provider", "mode", "prices", "tokens"}; prices are
plain decimal texts. Only entries with a price are in it. `sample_spec` documents the list and is
no model.

usage: price_list.py FILE
"""

import json
import re
import sys
from decimal import Decimal

TEXT_MODES = {"chat", "completion", "responses", "embedding", "moderation"}
NO_OUTPUT = {"embedding", "rerank", "moderation"}
INPUT, OUTPUT = "input_cost_per_token", "output_cost_per_token"


def plain(number):
    """A decimal without exponent and without zeros at its end."""
    text = format(Decimal(number), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def prices_in(value, path, priced):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from prices_in(inner, path + [name], priced or "cost" in name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from prices_in(inner, path + [str(place)], priced)
    elif priced and isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        yield ".".join(path), Decimal(value)


def token_prices(entry, mode):
    """[above, input, output] by length of the prompt, as the documentation of the import says."""
    ranges = [tier.get("range") for tier in entry.get("tiered_pricing", [])]
    found = []
    if ranges and all(ranges):
        for tier, (lower, _) in zip(entry["tiered_pricing"], ranges):
            if INPUT not in tier or OUTPUT not in tier:
                return []
            found.append([int(lower), tier[INPUT], tier[OUTPUT]])
    else:
        output = entry.get(OUTPUT, Decimal(0) if mode in NO_OUTPUT else None)
        if INPUT not in entry or output is None:
            return []
        found.append([0, entry[INPUT], output])
        lengths = set()
        for name in entry:
            match = re.fullmatch(r"(?:in|out)put_cost_per_token_above_(\d+)k_tokens", name)
            if match:
                lengths.add(int(match[1]))
        for length in sorted(lengths):
            suffix = f"_above_{length}k_tokens"
            _, before_in, before_out = found[-1]
            inner = entry.get(INPUT + suffix, before_in)
            outer = entry.get(OUTPUT + suffix, before_out)
            found.append([length * 1000, inner, outer])
    free = all(not inner and not outer for _, inner, outer in found)
    other = any(price for _, price in prices_in(entry, [], False))
    if free and other and mode not in TEXT_MODES:
        return []
    return [[above, plain(inner), plain(outer)] for above, inner, outer in found]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = json.load(file, parse_float=Decimal)
    entries.pop("sample_spec", None)
    models = {}
    for name, entry in entries.items():
        prices = {path: plain(price) for path, price in prices_in(entry, [], False)}
        if prices:
            mode = entry.get("mode")
            models[name] = {
                "provider": entry["litellm_provider"],
                "mode": mode,
                "prices": prices,
                "tokens": token_prices(entry, mode),
            }
    json.dump({"entries": len(entries), "models": models}, sys.stdout)


main()
