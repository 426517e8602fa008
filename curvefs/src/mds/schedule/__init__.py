"""What moves where: a snapshot of the fleet, schedulers as pure functions of it, and the controller that runs them."""
