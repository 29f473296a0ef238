"""What techniques of the site `model` do to modules. They import torch, so only methods import them."""
