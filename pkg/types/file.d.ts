// A raw file of the package. What an import of it gives is up to the runtime or the bundler: a WebAssembly.Module, bytes, an address.
declare const file: any;
export default file;
