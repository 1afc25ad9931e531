"""The work of each case, a file for each room of the house; `SIDES[case][side]()` makes a `Side`."""
