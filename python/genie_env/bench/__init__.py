"""Speed: steps per second, and the arithmetic that a step costs."""
