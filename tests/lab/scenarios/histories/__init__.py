"""Longer stories, by what happens: each is its name, what happens, whether it begins synced, and on which sources."""

from itertools import chain

from tests.lab.scenarios.histories.letters import letters
from tests.lab.scenarios.histories.lives import lives
from tests.lab.scenarios.histories.operators import operators
from tests.lab.scenarios.histories.outages import outages

ALL = tuple(chain(outages(), lives(), letters(), operators()))
