"""What joins chips: topologies, routes, contention, collectives."""
