"""`tune`: the space around a recipe, the search, and the judgement on what the search did not see."""
