"""What the machine underneath is and has: devices, data sheets of GPUs, the libraries installed on it."""
