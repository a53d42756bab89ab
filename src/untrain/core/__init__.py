"""What everything stands on: data, runs, methods, audits, records."""
