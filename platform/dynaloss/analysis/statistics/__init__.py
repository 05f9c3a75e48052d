"""From trial records to numbers: comparison, intervals, tests, effects, aggregates, costs."""
