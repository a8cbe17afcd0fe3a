"""One module per Lambda: parse the event, call one use case, map the answer.

What a start loads stays for as long as the process does, and a garbage collector that looks through
it while it grows takes a tenth of the start and finds nothing. It looks more rarely here, for what
calls leave behind: 50,000 objects are some MB.
"""

import gc

gc.set_threshold(50_000)
