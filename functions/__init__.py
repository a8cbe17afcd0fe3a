"""One module per Lambda: parse the event, call one use case, map the answer."""

import gc

# Garbage collections during import take about a tenth of a cold start and free nothing. A higher
# threshold avoids them. 50,000 objects that wait for the next collection take only some MB.
gc.set_threshold(50_000)
