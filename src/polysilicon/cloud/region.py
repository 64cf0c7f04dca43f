"""Where a cloud region lies, for promises of residency. A region whose place is not known lies nowhere."""

from __future__ import annotations

from fnmatch import fnmatchcase

# Regions that lie in Europe but outside the European Union, by the clouds' own names.
_UK: tuple[str, ...] = ("uk*", "eu-west-2", "europe-west2", "gb*")
_SWISS_NORWAY: tuple[str, ...] = ("switzerland*", "norway*", "eu-central-2", "europe-west6")
# The first pattern that fits decides.
_PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("us", ("us", "us-*", "*us", "*us2", "*us3", "usgov*", "north-america")),
    ("canada", ("canada*", "ca-*", "northamerica-northeast*")),
    ("europe", ("eu", "eu-*", "europe", "europe-*", "*europe", "france*", "germany*", "sweden*", "italy*", "poland*", "spain*",
                "finland*", "iceland*", "austria*", "belgium*", "denmark*", *_UK, *_SWISS_NORWAY)),
    ("asia", ("asia", "asia-*", "ap-northeast-*", "ap-south-*", "ap-southeast-1", "ap-southeast-3", "ap-east-*", "*asia",
              "japan*", "korea*", "*india*", "taiwan*", "malaysia*", "indonesia*")),
    ("oceania", ("australia*", "ap-southeast-2", "ap-southeast-4", "newzealand*")),
    ("middle-east", ("me-*", "uae*", "qatar*", "israel*", "il-*", "saudi*")),
    ("south-america", ("sa-*", "southamerica-*", "brazil*", "chile*")),
    ("africa", ("af-*", "africa-*", "southafrica*")),
)  # fmt: skip
GEOGRAPHIES: tuple[str, ...] = (*(name for name, _ in _PLACES), "eu", "uk")


def geographies(region: str) -> tuple[str, ...]:
    """Return the geographies a region lies in; the European Union is kept apart from Europe.

    >>> geographies("swedencentral"), geographies("eu-west-2"), geographies("us-east-2")
    (('europe', 'eu'), ('europe', 'uk'), ('us',))
    >>> geographies("global")
    ()
    """
    name = region.lower()
    place = next((place for place, patterns in _PLACES if _any(name, patterns)), "")
    if not place:
        return ()
    if place != "europe":
        return (place,)
    if _any(name, _UK):
        return ("europe", "uk")
    beyond = name == "europe" or _any(name, _SWISS_NORWAY)
    return ("europe",) if beyond else ("europe", "eu")


def lies_in(region: str, wanted: str) -> bool:
    """Return whether a region is the wanted one, fits its pattern, or lies in that geography.

    >>> lies_in("europe-west4", "eu"), lies_in("europe-west2", "eu"), lies_in("eastus2", "eastus*")
    (True, False, True)
    """
    return region == wanted or wanted in geographies(region) or (any(c in wanted for c in "*?[") and fnmatchcase(region, wanted))


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
