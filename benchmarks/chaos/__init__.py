"""Random programs in a simulated world, killed and repaired at random, compared with the undisturbed program."""
