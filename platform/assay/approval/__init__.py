"""The stage that decides: policy, gates, verdict, review, signature, registry."""
