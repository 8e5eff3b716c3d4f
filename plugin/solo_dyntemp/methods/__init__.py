"""Methods with a dynamic temperature: mixins over the contract, bound to a framework in hosts."""
