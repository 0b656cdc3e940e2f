"""HTTP from us to addresses that others named: webhooks, CRMs."""
