"""How fast this machine trains, against the usual script and against what it could, and how long runs will take."""
