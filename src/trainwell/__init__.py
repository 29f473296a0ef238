"""trainwell trains neural networks well, finds what ails a training, and proves the cure."""
