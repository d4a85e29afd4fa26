/** Imported before any schema is made: zod would compile them with new Function(), which our pages may not. */
import { z } from 'zod';

z.config({ jitless: true });
