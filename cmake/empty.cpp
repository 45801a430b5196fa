// A library of other libraries' objects needs a file of its own.
