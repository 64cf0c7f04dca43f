"""The scenario: one YAML file that asks the question.

`load` reads and checks it whole, `resolve` turns it and the catalogue into what the machines take.
"""

from __future__ import annotations

from polysilicon.scenario.load import catalogue_for, embedded_text, load, load_embedded, load_text
from polysilicon.scenario.resolve import Resolved, resolve
from polysilicon.scenario.schema import (
    ContractPart,
    DrawPart,
    FactPart,
    Horizon,
    LengthsPart,
    LimitsPart,
    OfferPart,
    OffersPart,
    PortPart,
    Scenario,
    ScopePart,
    SitePart,
    SloPart,
    StudyPart,
    SurvivePart,
    TierPart,
    TokenPricePart,
    TrafficPart,
    WorkloadPart,
)

__all__ = [
    "ContractPart",
    "DrawPart",
    "FactPart",
    "Horizon",
    "LengthsPart",
    "LimitsPart",
    "OfferPart",
    "OffersPart",
    "PortPart",
    "Resolved",
    "Scenario",
    "ScopePart",
    "SitePart",
    "SloPart",
    "StudyPart",
    "SurvivePart",
    "TierPart",
    "TokenPricePart",
    "TrafficPart",
    "WorkloadPart",
    "catalogue_for",
    "embedded_text",
    "load",
    "load_embedded",
    "load_text",
    "resolve",
]
