package netpoll

const fionwrite = 0x40046679 // _IOR('f', 121, int)
