import { mount } from 'svelte';
import App from './App.svelte';
import './state/theme.svelte';
import './styles/index.css';

mount(App, { target: document.body });
