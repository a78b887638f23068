import { defineConfig } from 'vite';
import react from '@vitejs/plugin-react';

// PROMETHEUS and PORT are set by `python -m tests.deploy.pictures`.
export default defineConfig({
  plugins: [react()],
  publicDir: '../dashboards',
  define: { 'process.env': {}, global: 'globalThis' },
  build: { outDir: '../../../build/dashboard-page', emptyOutDir: true, minify: false, target: 'es2022', chunkSizeWarningLimit: 20000 },
  preview: {
    host: '127.0.0.1',
    port: Number(process.env.PORT),
    strictPort: true,
    proxy: { '/prometheus': { target: process.env.PROMETHEUS, rewrite: (path) => path.replace('/prometheus', '') } },
  },
});
