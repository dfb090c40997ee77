"""What each kind of plug-in promises, tried: on the package's own by the tests, on a person's by `check-plugin`."""
