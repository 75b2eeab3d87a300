"""Methods that know which labels are expert and which are noisy."""
