// The script of the dedicated module worker in browsers. The page sends one port; all else goes over it.
import { serve } from './host.js';
import * as web from './platform/web.js';

self.addEventListener('message', ({ data }) => {
  if (data?.port instanceof MessagePort) serve(data.port, web);
});
