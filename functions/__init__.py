"""One module per Lambda: parse the event, call one use case, map the answer."""

import gc

from functions._methods import use_compiled_methods

# Collections of garbage during a start would take an eighth of its time and free almost nothing. A
# start makes some 130,000 objects that the collector counts, and `at_start` then takes them out of
# the later collections. A call leaves about 20 objects, so a warm process collects once in 10,000
# calls, in 2 ms.
gc.set_threshold(250_000)

use_compiled_methods()
