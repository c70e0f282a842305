"""What happens as eta -> 0: ladders of step sizes, fitted orders, and predictions at tiny eta."""
