"""The stage that trains: a search space becomes trials on Ray Tune."""
